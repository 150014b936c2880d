"""RTP and RTCP, sans-IO: packets, loss and order, clocks, and the payload formats."""
