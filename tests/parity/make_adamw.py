"""Writes tests/fixtures/adamw/steps.f32: what torch.optim.AdamW makes of one tensor.

Little-endian float32: N, STEPS, then param (N) before, and for each step gradient (N), then param,
m, v (N each) after the last step. The hyper-parameters are those of u_num_ops.c.
"""
import pathlib
import sys

import numpy
import torch

N, STEPS = 37, 7
torch.manual_seed(3)
param = torch.nn.Parameter(torch.randn(N))
optimizer = torch.optim.AdamW([param], lr=3e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.1)
parts = [numpy.array([N, STEPS], "<f4"), param.detach().numpy().copy()]
for step in range(STEPS):
    gradient = torch.randn(N) * 10.0 ** torch.randint(-6, 2, (N,))
    param.grad = gradient.clone()
    parts.append(gradient.numpy())
    optimizer.step()
state = optimizer.state[param]
parts += [param.detach().numpy(), state["exp_avg"].numpy(), state["exp_avg_sq"].numpy()]
out = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "tests/fixtures/adamw/steps.f32")
out.parent.mkdir(parents=True, exist_ok=True)
out.write_bytes(b"".join(p.astype("<f4").tobytes() for p in parts))
print(torch.__version__, out)
