"""The queues, and the workers that serve them.

endpoints   what an endpoint serves
jobs        a job as the platform keeps it
queues      the life of a job: submitted, taken, ended, kept for a while
workers     a worker, as far as it can be seen
platform    which worker takes what
answers     what workers post for their jobs
marks       the platform's own events in a job's stream
watch       which workers are lost
scale       how many workers an endpoint needs
health      the state of an endpoint
limits      the platform's numbers
"""
