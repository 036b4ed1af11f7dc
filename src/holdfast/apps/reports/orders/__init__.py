"""Orders: what is sold, how it is paid, made and delivered. Without HTTP, so that workers need none."""
