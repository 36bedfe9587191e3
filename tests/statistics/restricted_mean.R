# Oracle of test_survival.py: restricted mean survival time and its standard error, and the median, by survival.
# Run in this folder: Rscript restricted_mean.R. The data are whole-number arithmetic, so that Python makes the same.
suppressMessages(library(survival))
i <- 0:39
time <- (i * i * 3 + 5 * i) %% 29 + 1
event <- as.numeric((i * 7) %% 5 < 3)
group <- i %% 2
rows <- list()
for (g in 0:1) for (horizon in c(7, 12.5, 24)) {
  fit <- survfit(Surv(time[group == g], event[group == g]) ~ 1)
  found <- summary(fit, rmean = horizon)$table
  rows[[length(rows) + 1]] <- data.frame(
    group = g, horizon = horizon, mean = found[["rmean"]], se = found[["se(rmean)"]], median = found[["median"]]
  )
}
table <- do.call(rbind, rows)
table$r <- paste(R.version$major, R.version$minor, sep = ".")
table$survival <- as.character(packageVersion("survival"))
write.csv(format(table, digits = 15), "restricted_mean.csv", row.names = FALSE, quote = FALSE)
