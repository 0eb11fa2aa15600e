"""A page to try a worker and watch it, for whoever serves its routes.

pages    the page's files and the rules that a browser is to keep to
static   one HTML file, one stylesheet, plain modules; nothing from elsewhere, nothing to build

The page asks the server that it came from, and no other. ``/playground/about.json`` tells it what
that is: a worker that answers at once, or a platform that queues.
"""
