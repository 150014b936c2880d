"""ICE lite, sans-IO: STUN, the agents of all sessions behind one port, candidates, framing."""
