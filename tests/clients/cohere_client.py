"""Cohere's own client, version 2."""

from __future__ import annotations

import os

import cohere

client = cohere.ClientV2("any", base_url=os.environ["BASE_URL"].removesuffix("/v1"))
answer = client.rerank(
    model="All_MiniLM_L6_v2", query="a fox", documents=["an owl", "a fox"], top_n=1
)
assert answer.results[0].index == 1
assert 0 < answer.results[0].relevance_score <= 1
