"""What a picture is going to be, shown while it is drawn."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from PIL import Image
from torch import Tensor, nn

from dpnb.metering.counting import no_counting
from dpnb.pipelines.explorable import ExplorablePipeline
from dpnb.run_listener import Foresee
from dpnb.stages import Stage, Step
from dpnb.widgets.current_run import CurrentRun
from dpnb.widgets.latent_previews import LatentPreviews
from dpnb.widgets.preview_decoder import decode_small, find_tiny_decoder
from dpnb.widgets.state import NO_PREVIEW, TINY_PREVIEW, Request, RunState

logger = logging.getLogger(__name__)


class RunPreviews:
    """Previews of the runs of a pipeline: the latents without noise that each step predicts.

    The thread of the run computes what is shown next, once the last preview has been taken, and
    leaves it for another one. Where a scheduler does not say what it predicts, the latents are
    shown as they are.

    Args:
        pipe: the pipeline.
        state: says which previews are wanted.
    """

    def __init__(self, pipe: ExplorablePipeline, state: RunState) -> None:
        self._pipe, self._state = pipe, state
        self._colours = LatentPreviews(pipe.name_or_path)
        self._held: nn.Module | None = None

    def note_prediction(self, current: CurrentRun, index: int, foresee: Foresee) -> None:
        """Step `index` of a run has a prediction; called in the thread of the run."""
        current.foreseen, current.is_preview_due = None, self._is_due(current, index)
        if not current.is_preview_due:
            return
        try:
            with no_counting():
                current.foreseen = foresee()
        except Exception:
            logger.exception("what a step predicts cannot be told")

    def end_step(self, current: CurrentRun, step: Step) -> None:
        """A step of a run is done; called in the thread of the run."""
        if step.stage is not Stage.DENOISING or step.latents is None:
            return
        foreseen, current.foreseen = current.foreseen, None
        is_due, current.is_preview_due = current.is_preview_due, None
        if self._is_due(current, step.index) if is_due is None else is_due:
            latents = step.latents if foreseen is None else foreseen
            try:
                decoded = self._decode(latents, current.request)
                current.unshown.append(latents if decoded is None else decoded)
            except Exception:
                logger.exception("a run goes on, but its preview cannot be decoded")

    def take(self, current: CurrentRun) -> list[Image.Image] | None:
        """The next preview of a run; `None` where there is no new one."""
        try:
            unshown = current.unshown.pop()
        except IndexError:
            return None
        if self._state.preview_every == NO_PREVIEW:
            return None
        if isinstance(unshown, list):
            return unshown
        return self._colours.paint(unshown, self._find_shape(current.request))

    def learn(self, latents: Tensor, pictures: Sequence[Image.Image]) -> None:
        """Fit colours to the latents of a last step and what they became, if none are known."""
        self._colours.learn(latents, pictures)

    def _is_due(self, current: CurrentRun, index: int) -> bool:
        every = self._state.preview_every
        if every > 0:
            return (index + 1) % every == 0
        if every == NO_PREVIEW or current.unshown:
            return False
        is_decoded = every == TINY_PREVIEW and self._tiny_decoder is not None
        return is_decoded or self._colours.are_known

    def _decode(self, latents: Tensor, request: Request | None) -> list[Image.Image] | None:
        """Pictures of latents; `None` where they are shown by their colours."""
        every = self._state.preview_every
        if every > 0:
            return self._pipe.preview(latents)
        decoder = self._tiny_decoder if every == TINY_PREVIEW else None
        if decoder is None:
            return None
        return decode_small(decoder, latents, self._find_shape(request))

    @property
    def _tiny_decoder(self) -> nn.Module | None:
        self._held = find_tiny_decoder(self._pipe, self._state.preview_decoder)
        return self._held

    def _find_shape(self, request: Request | None) -> tuple[int, int]:
        """Height and width of what is drawn; as of a square where nobody knows."""
        asked = (request or Request("")).with_defaults(self._pipe)
        return asked.height or 1, asked.width or 1
