"""What happens to the gateway itself: its power goes, and comes back.

It is done by whoever hands in a `Power`; without one it is told, for a person with a hand on the plug.
"""

from typing import Literal

from firmware_sim.kinds.kind import Kind, Site, Step


class GatewayStep(Step):
    """What is done to the gateway."""

    do: Literal["gateway-cut", "gateway-on"]


class TheGateway(Kind):
    """The one gateway of a run."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def do(self, step: GatewayStep) -> None:
        """Pull its plug, or put it in."""
        if self._site.gateway is None:
            self._site.say("the gateway's power goes" if step.do == "gateway-cut" else "the gateway's power is back")
        elif step.do == "gateway-cut":
            self._site.gateway.kill()
        else:
            await self._site.gateway.start()
