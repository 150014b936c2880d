"""All sessions behind one port: by the fragment that a check names, and by where its peer is.

Both look-ups cost the same however many sessions there are, and a check that names nobody costs
little else (no parse, no HMAC, no answer): a port is flooded with those.
"""

from __future__ import annotations

from dataclasses import dataclass

from appliance.errors import LimitExceeded, MisuseError, PeerError
from appliance.wire.ice.agent import IceAgent, IceState, Remote
from appliance.wire.ice.credentials import Credentials
from appliance.wire.ice.stun import parse, peek_username

MAX_AGENTS = 2000
MAX_PENDING = 32  # against who asks for sessions and never connects; each ends after 10 s


@dataclass(slots=True)
class IceCounters:
    """Of STUN packets, by what became of them."""

    answered: int = 0
    damaged: int = 0  # no STUN, or not whole
    unasked: int = 0  # answers, indications, other methods, or no username
    unknown: int = 0  # a fragment of no session
    refused: int = 0  # wrong password, too many, or a session that is over
    foreign: int = 0  # from an address where another session's peer is


@dataclass(slots=True)
class Checked:
    """A check that was answered. answer: for where it came from, by the way it came.

    is_moved: whether media go elsewhere than before, or now for the first time.
    """

    agent: IceAgent
    answer: bytes
    is_moved: bool


class IceDirectory:
    """Bounded by `max_agents`, and by MAX_PATHS of the agent for each."""

    def __init__(self, max_agents: int = MAX_AGENTS, max_pending: int = MAX_PENDING) -> None:
        self.counters = IceCounters()
        self._max_agents = max_agents
        self._max_pending = max_pending
        self._by_ufrag: dict[bytes, IceAgent] = {}
        self._by_remote: dict[Remote, IceAgent] = {}
        self._agents: dict[IceAgent, None] = {}  # in the order of coming
        self._pending: set[IceAgent] = set()  # without a path for media

    def __len__(self) -> int:
        return len(self._agents)

    def add(self, local: Credentials, now_us: int) -> IceAgent:
        """Raises: LimitExceeded; MisuseError if somebody has the fragment."""
        if len(self._agents) >= self._max_agents:
            raise LimitExceeded(f"{self._max_agents} WebRTC sessions are open")
        if len(self._pending) >= self._max_pending:
            raise LimitExceeded(f"{self._max_pending} WebRTC sessions wait for their peers")
        agent = IceAgent(local, now_us)
        self._register(local, agent)
        self._agents[agent] = None
        self._pending.add(agent)
        return agent

    def restart(self, agent: IceAgent, local: Credentials) -> None:
        """See `IceAgent.restart`. Raises: MisuseError if somebody has the fragment."""
        self._register(local, agent)
        if unused := agent.restart(local):
            del self._by_ufrag[unused.ufrag.encode()]

    def remove(self, agent: IceAgent) -> None:
        """Its session is over; nothing if it is not there."""
        self._agents.pop(agent, None)
        self._pending.discard(agent)
        for credentials in (agent.local, agent.former):
            if credentials and self._by_ufrag.get(credentials.ufrag.encode()) is agent:
                del self._by_ufrag[credentials.ufrag.encode()]
        for remote in agent.paths:
            self._release(remote, agent)

    def agent_of(self, remote: Remote | tuple[str, int, bool]) -> IceAgent | None:
        """Whose peer is there, proved by a check: only its DTLS and RTP are worth a look."""
        return self._by_remote.get(remote)  # type: ignore[arg-type]

    def receive(self, data: bytes, remote: Remote, now_us: int) -> Checked | None:
        """One STUN packet. None if there is nothing to answer; `counters` has why."""
        try:
            return self._receive(data, remote, now_us)
        except PeerError:
            self.counters.damaged += 1
            return None

    def _receive(self, data: bytes, remote: Remote, now_us: int) -> Checked | None:
        username = peek_username(data)
        if username is None:
            self.counters.unasked += 1
            return None
        agent = self._by_ufrag.get(bytes(username).partition(b":")[0])
        if agent is None:
            self.counters.unknown += 1
            return None
        owner = self._by_remote.get(remote)
        if owner is not None and owner is not agent and owner.holds(remote, now_us):
            # Or one who has a session could take another's packets by forging its address.
            self.counters.foreign += 1
            return None
        return self._check(agent, data, remote, now_us)

    def _check(self, agent: IceAgent, data: bytes, remote: Remote, now_us: int) -> Checked | None:
        message = parse(data)
        former, selected, before = agent.former, agent.selected, set(agent.paths)
        answer = agent.check(message, remote, now_us)
        if answer is None:
            self.counters.refused += 1
            return None
        self.counters.answered += 1
        if former and agent.former is None:
            del self._by_ufrag[former.ufrag.encode()]
        if remote in agent.paths:
            self._claim(remote, agent)
        for gone in before - agent.paths.keys():
            self._release(gone, agent)
        if agent.selected is not None:
            self._pending.discard(agent)
        return Checked(agent, answer, agent.selected is not selected)

    def forget(self, remote: Remote) -> IceAgent | None:
        """A connection is closed. Whose path it was."""
        agent = self._by_remote.pop(remote, None)
        if agent is not None:
            agent.forget(remote)
        return agent

    def expire(self, now_us: int) -> list[IceAgent]:
        """Those whose peers did not come or stay; they are out of here. Due once a second or so,
        and cheap: it looks at each agent once."""
        over = []
        for agent in list(self._agents):
            for remote in agent.expire(now_us):
                self._release(remote, agent)
            if agent.state is IceState.FAILED:
                self.remove(agent)
                over.append(agent)
        return over

    def _register(self, local: Credentials, agent: IceAgent) -> None:
        if self._by_ufrag.setdefault(local.ufrag.encode(), agent) is not agent:
            raise MisuseError("an ICE fragment twice")

    def _claim(self, remote: Remote, agent: IceAgent) -> None:
        """The silent one who had it before has it no more."""
        owner = self._by_remote.get(remote)
        if owner is not None and owner is not agent:
            owner.forget(remote)
        self._by_remote[remote] = agent

    def _release(self, remote: Remote, agent: IceAgent) -> None:
        if self._by_remote.get(remote) is agent:
            del self._by_remote[remote]
