"""Frames of a camera, a video or anything else through a gateway, as they come: `GatewayClient.stream`."""
