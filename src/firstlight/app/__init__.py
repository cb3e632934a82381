"""The live demo: `service` answers, `web` shows, `gate` keeps out what neither needs."""
