"""Several LM Studio hosts as one: which are up, what they have, and taking one out of service."""
