"""The live demo: `service` predicts, the tabs and `panels` show it, `gate` and `upload_limits` reject hostile input."""
