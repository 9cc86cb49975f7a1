Rscript --vanilla -e 'IRkernel::installspec(user = FALSE, prefix = "/opt/jupyter")'
