"""The queues, and the workers that serve them.

endpoints   what an endpoint serves
jobs        a job as the platform keeps it
queues      the life of a job: submitted, taken, ended, kept for a while
workers     a worker, as far as it can be seen
platform    which worker takes what
watch       which workers are lost
scale       how many workers an endpoint needs
health      how an endpoint is
limits      the platform's numbers
"""
