"""The server about itself: health, metrics, and the models it knows."""
