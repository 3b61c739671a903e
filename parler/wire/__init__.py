"""The contract in types: frames, records, codes, limits, codec, canonical bytes.

Everything a client and a hub agree on, and nothing that performs I/O. It depends on
the standard library and msgspec only. The paragraphs cited here and below as
``protocol N`` are those of the Parler Protocol.
"""
