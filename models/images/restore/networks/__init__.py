"""Networks in torch; each file imports it, so that engines import them in ``load``.

ben2            BEN2, and the names of its checkpoint
ben2_attention  its attention between quarters and the whole
ben2_tensors    its shapes and positions
rrdb            Real-ESRGAN's
"""
