library(tidyverse)
library(data.table)

fit <- lm(dist ~ speed, data = cars)
stopifnot(abs(coef(fit)[["speed"]] - 3.932409) < 1e-6)
means <- data.table(cars)[, .(dist = mean(dist)), by = speed]
stopifnot(identical(means$dist, (cars |> group_by(speed) |> summarise(dist = mean(dist)))$dist))
stopifnot(rmarkdown::pandoc_available())
ggplot(cars, aes(speed, dist)) + geom_point() + geom_smooth(method = "lm", formula = y ~ x)
