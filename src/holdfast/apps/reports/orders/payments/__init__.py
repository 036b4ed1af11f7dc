"""How orders are paid: by Stripe, or on a page of our own in test mode."""
