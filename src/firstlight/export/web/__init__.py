"""The browser demo: a static page that runs the model in the visitor's browser.

`site` writes the folder, `model_json` what the page shows of the model, `image_sheets` its images, and `runtime` finds
the vendored ONNX Runtime Web. `page/` holds the sources of the page, plain ES modules without a build step.
"""
