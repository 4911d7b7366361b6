"""Pictures and video in and out, and drawing on them. Colours are RGB everywhere inside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsight.registry import lazy

if TYPE_CHECKING:
    from sparsight.media.draw import Trails, beside, colours, draw_boxes, heat, overlay
    from sparsight.media.images import Image, decode_image, encode_jpeg, read_image, write_image
    from sparsight.media.video import Frame, VideoReader, open_video
    from sparsight.media.writer import VideoWriter

_PUBLIC = {
    "Frame": "sparsight.media.video:Frame",
    "Image": "sparsight.media.images:Image",
    "Trails": "sparsight.media.draw:Trails",
    "VideoReader": "sparsight.media.video:VideoReader",
    "VideoWriter": "sparsight.media.writer:VideoWriter",
    "beside": "sparsight.media.draw:beside",
    "colours": "sparsight.media.draw:colours",
    "decode_image": "sparsight.media.images:decode_image",
    "draw_boxes": "sparsight.media.draw:draw_boxes",
    "encode_jpeg": "sparsight.media.images:encode_jpeg",
    "heat": "sparsight.media.draw:heat",
    "open_video": "sparsight.media.video:open_video",
    "overlay": "sparsight.media.draw:overlay",
    "read_image": "sparsight.media.images:read_image",
    "write_image": "sparsight.media.images:write_image",
}

__all__ = [
    "Frame",
    "Image",
    "Trails",
    "VideoReader",
    "VideoWriter",
    "beside",
    "colours",
    "decode_image",
    "draw_boxes",
    "encode_jpeg",
    "heat",
    "open_video",
    "overlay",
    "read_image",
    "write_image",
]

__getattr__ = lazy("sparsight.media", _PUBLIC)
