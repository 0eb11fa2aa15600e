"""OpenAI's routes over HTTP.

serve         listens, and stops
routes        the routes, answered at once by this worker
requests      bodies in, answers and errors out
crowd         how many requests are answered at a time
protection    limits on connections, and the token
forms         multipart forms, as OpenAI's clients send files
form_values   a form's texts as values of a request's fields
"""
