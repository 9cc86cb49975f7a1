echo '[ -z "${PS1-}" ] || . /usr/share/bash-completion/bash_completion' >>/etc/bash.bashrc
# Servers and kernels start by quickstart (images/README.md, "Cold start").
for name in jupyterhub-singleuser jupyter-lab; do ln -sf ../lib/quickstart/server.py /opt/jupyter/bin/$name; done
/opt/jupyter/bin/python - /opt/jupyter/share/jupyter/kernels/python3/kernel.json <<'PYTHON'
import json, pathlib, sys
file = pathlib.Path(sys.argv[1])
spec = json.loads(file.read_text())
assert spec["argv"][1:3] == ["-m", "ipykernel_launcher"], spec["argv"]
spec["argv"][1:3] = ["/opt/jupyter/lib/quickstart/kernel.py"]
file.write_text(json.dumps(spec, indent=1))
PYTHON
