"""Images and videos.

request    requests, answers and events; all that the handler imports
fields     tables of request fields that a model refuses or ignores
safety     engine: whether a picture may be shown
diffusion  engine: text to image, and edits, with diffusers' pipelines
video      engine: videos with sound
restore    engines: larger pictures, and pictures without background
encoding   pixels to pictures that fit an answer
"""
