echo '[ -z "${PS1-}" ] || . /usr/share/bash-completion/bash_completion' >>/etc/bash.bashrc
# Servers start with quickstart (images/README.md, "Cold start").
for name in jupyterhub-singleuser jupyter-lab; do ln -sf ../lib/quickstart/server.py /opt/jupyter/bin/$name; done
