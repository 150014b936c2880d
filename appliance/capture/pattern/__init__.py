"""What the test pattern looks and sounds like: canvas, font, test card, tone."""
