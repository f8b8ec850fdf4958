"""Who calls: API keys and what they may do."""
