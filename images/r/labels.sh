Rscript --vanilla - <<'END'
packages <- c("IRkernel", "tidyverse", "data.table", "rmarkdown")
versions <- sapply(packages, function(name) as.character(packageVersion(name)))
cat(sprintf("org.flatirons.version.%s %s\n", tolower(c("R", packages)), c(as.character(getRversion()), versions)), sep = "")
END
