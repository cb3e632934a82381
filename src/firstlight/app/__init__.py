"""The live demo: `service` predicts, the tabs show the results, `gate` and `upload_limits` reject bad input."""
