"""Bytes of images, sound and video to arrays; the limits against hostile input live here."""
