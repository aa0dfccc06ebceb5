"""Thin adapters, one file per framework that needs one; nothing else imports them."""
