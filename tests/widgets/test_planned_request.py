"""Requests as what plans are made for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

import dpnb
from dpnb.widgets.planned_request import PlannedRequest, costs_the_same
from dpnb.widgets.session import Session
from dpnb.widgets.state import Request

REQUEST = Request("a red apple", steps=2, width=32, height=40, guidance_scale=1.0)


def test_all_that_costs_something_is_planned_for(session: Session) -> None:
    asked = replace(REQUEST, count=2, more=(("eta", 0.5), ("num_frames", 8)), strength=0.5)
    planned = PlannedRequest.of(session, asked)
    found = planned.workload
    assert (found.width, found.height, found.batch, found.steps) == (32, 40, 2, 2)
    assert (found.guidance_scale, found.frames) == (1.0, 8)
    assert planned.arguments == {"eta": 0.5}, "this call knows no strength"


def test_what_is_guided_costs_more_than_what_is_not(session: Session) -> None:
    one, other, more = (
        PlannedRequest.of(session, replace(REQUEST, guidance_scale=scale)).workload
        for scale in (1.0, 5.0, 7.0)
    )
    assert not costs_the_same(session.pipe, one, other)
    assert costs_the_same(session.pipe, other, more)
    assert not costs_the_same(session.pipe, one, replace(one, steps=3))


def test_other_weights_are_another_pipeline_and_switches_are_not(session: Session) -> None:
    asked, pipe = PlannedRequest.of(session, REQUEST), session.pipe
    before = asked.fingerprint(pipe)
    with pipe.strategies.using(dpnb.LayerwiseCasting(), dpnb.QKVFusion()):
        assert asked.fingerprint(pipe) == before
    eta = PlannedRequest.of(session, replace(REQUEST, more=(("eta", 0.5),)))
    assert eta.fingerprint(pipe) != before
    vae: Any = pipe.parts()["vae"]
    vae.to(torch.bfloat16)
    try:
        assert asked.fingerprint(pipe) != before
    finally:
        vae.to(torch.float32)
    assert asked.fingerprint(pipe) == before
