"""The live demo: `service` answers, the tabs and `panels` show, `gate` and `upload_limits` reject hostile input."""
