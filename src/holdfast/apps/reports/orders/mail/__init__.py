"""The e-mails of an order: what they say, and how they are sent."""
