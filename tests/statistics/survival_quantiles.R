# Oracle of test_survival_quantiles.py: quartiles with Brookmeyer-Crowley intervals, and survival at landmarks with the
# difference of two groups, by survival. Run in this folder: Rscript survival_quantiles.R. The data are whole-number
# arithmetic, so that Python makes the same; one set is flat at a half, at a quarter and at the end, one ends at 0.
suppressMessages(library(survival))
i <- 0:39
sets <- list(
  ties = list(time = (i * i * 3 + 5 * i) %% 29 + 1, event = as.numeric((i * 7) %% 5 < 3)),
  sparse = list(time = (i * 13) %% 37 + 2, event = as.numeric((i * 3) %% 11 < 3)),
  to_zero = list(time = 1:12, event = rep(1, 12)),
  flat_end = list(time = 1:6, event = c(1, 1, 1, 0, 0, 0)),
  flat_inside = list(time = 1:8, event = c(1, 1, 1, 1, 0, 0, 1, 1)),
  flat_quarter = list(time = 1:8, event = c(1, 1, 0, 0, 0, 0, 0, 0)),
  flat_three_quarters = list(time = 1:8, event = c(1, 1, 1, 1, 1, 1, 0, 0)),
  no_event = list(time = 1:5, event = rep(0, 5)),
  one = list(time = 3, event = 1)
)
rows <- list()
for (name in names(sets)) for (type in c("log", "log-log", "plain")) {
  fit <- survfit(Surv(sets[[name]]$time, sets[[name]]$event) ~ 1, conf.type = type)
  found <- quantile(fit, probs = c(0.25, 0.5, 0.75))
  rows[[length(rows) + 1]] <- data.frame(
    set = name, type = type, share = c(0.25, 0.5, 0.75),
    quantile = as.numeric(found$quantile), low = as.numeric(found$lower), high = as.numeric(found$upper)
  )
}
version <- function(table) {
  table$r <- paste(R.version$major, R.version$minor, sep = ".")
  table$survival <- as.character(packageVersion("survival"))
  table
}
write.csv(format(version(do.call(rbind, rows)), digits = 15), "survival_quantiles.csv", row.names = FALSE, quote = FALSE)

# difference of survival at a landmark, with the standard errors of the two groups, as tern's surv_timepoint prints it
rows <- list()
data <- sets$ties
group <- i %% 2
for (week in c(5, 12.5, 20, 28)) {
  fits <- lapply(0:1, function(g) survfit(Surv(data$time[group == g], data$event[group == g]) ~ 1))
  at <- lapply(fits, function(fit) summary(fit, times = week))
  gap <- at[[2]]$surv - at[[1]]$surv
  se <- sqrt(at[[1]]$std.err^2 + at[[2]]$std.err^2)
  rows[[length(rows) + 1]] <- data.frame(
    week = week, first = at[[1]]$surv, second = at[[2]]$surv, difference = gap, se = se,
    low = gap - qnorm(0.975) * se, high = gap + qnorm(0.975) * se, p = 2 * pnorm(-abs(gap / se))
  )
}
write.csv(format(version(do.call(rbind, rows)), digits = 15), "survival_landmarks.csv", row.names = FALSE, quote = FALSE)
