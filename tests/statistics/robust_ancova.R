# Oracle of test_robust_covariance.py: heteroscedasticity-consistent inference of an analysis of covariance.
# Run in this folder: Rscript robust_ancova.R. The data are whole-number arithmetic, so that Python makes the same.
suppressMessages({library(clubSandwich); library(estimatr)})
i <- 0:29
d <- data.frame(patient = i, arm = factor(ifelse(i %% 3 == 0, "active", "control"), levels = c("control", "active")),
                region = factor(c("ROW", "US", "ROW", "EU")[i %% 4 + 1], levels = c("EU", "ROW", "US")),
                x = (i * i * 7 + 3 * i) %% 17)
# the spread differs between the arms
d$y <- d$x / 2 + ifelse(d$arm == "active", 9, 1) * ((i * i * 5 + 11 * i) %% 13 - 6) / 4
fit <- lm(y ~ arm + x + region, d)
V <- vcovCR(fit, cluster = d$patient, type = "CR2")
rows <- list()
put <- function(term, values) for (s in names(values))
  rows[[length(rows) + 1]] <<- data.frame(term, stat = s, value = sprintf("%.15g", values[[s]]))
row <- function(point) {
  found <- linear_contrast(fit, vcov = V, contrasts = matrix(point, 1), test = "Satterthwaite")
  list(estimate = found$Est, se = found$SE, df = found$df, low = found$CI_L, high = found$CI_U)
}
arm <- row(c(0, 1, 0, 0, 0))
# estimatr gives the same standard error and degrees of freedom; it also gives p
other <- lm_robust(y ~ arm + x + region, d, clusters = patient, se_type = "CR2")
stopifnot(abs(other$std.error[2] - arm$se) < 1e-8, abs(other$df[2] - arm$df) < 1e-5)
put("active", c(arm, list(p = 2 * pt(-abs(arm$estimate / arm$se), arm$df))))
for (k in 0:1) put(paste("mean", levels(d$arm)[k + 1]), row(c(1, k, mean(d$x), 1 / 3, 1 / 3)))
put("unequal", list(ordinary_se = summary(fit)$coefficients[2, 2]))
version <- function(name) as.character(packageVersion(name))
about <- c(R = paste(R.version$major, R.version$minor, sep = "."), clubSandwich = version("clubSandwich"),
           estimatr = version("estimatr"))
for (name in names(about)) rows[[length(rows) + 1]] <- data.frame(term = "version", stat = name, value = about[[name]])
write.csv(do.call(rbind, rows), "robust_ancova.csv", row.names = FALSE, quote = FALSE)
