"""What is done to pictures before encoding: drawing on them, turning them, stills, slates."""
