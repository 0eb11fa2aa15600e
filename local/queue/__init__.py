"""The queues, and the workers that serve them.

endpoints   what an endpoint serves
jobs        the platform's record of a job
state       the jobs in a file
queues      the lifecycle of a job: submitted, taken, ended, kept for a while
workers     the platform's record of a worker
platform    assigns jobs to workers
answers     the posts of workers for their jobs
marks       the platform's own events in a job's stream
watch       detects lost workers
scale       how many workers an endpoint needs
health      the state of an endpoint
limits      the platform's limits
"""
