"""The verdict on a fit: whether its result can be trusted, and if not, why and what to change."""
