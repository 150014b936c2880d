"""Where encoders put what they make."""

from .output import Output

__all__ = ["Output"]
