"""What is done to pictures before they are encoded: drawing on them, turning them, stills, slates."""
