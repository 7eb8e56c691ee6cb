"""Byline's web app: Reflex pages over the HTTP API. It imports neither backend nor attribution."""
