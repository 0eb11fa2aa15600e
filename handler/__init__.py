"""The job's way in and out; knows RunPod, knows no model."""
