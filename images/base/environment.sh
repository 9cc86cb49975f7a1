export PATH="/opt/jupyter/bin:$PATH"
export LANG=C.UTF-8 LC_ALL=C.UTF-8
unset PYTHONHOME PYTHONPATH
