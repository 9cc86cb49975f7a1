echo '[ -z "${PS1-}" ] || . /usr/share/bash-completion/bash_completion' >>/etc/bash.bashrc
