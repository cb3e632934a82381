"""The browser demo: a static page that runs the model in the visitor's browser.

`site` writes the folder. `model_json` writes the facts about the model that the page shows, and `image_sheets` its
images. `runtime` finds and checks the vendored ONNX Runtime Web. `page/` holds the sources of the page, ES modules that
need no build step.
"""
