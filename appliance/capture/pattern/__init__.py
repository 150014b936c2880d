"""What the test pattern looks and sounds like: test card, tone."""
