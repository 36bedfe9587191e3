# Oracle of test_classification.py, test_calibration.py and test_logistic.py. glm and anova (stats), lowess (stats), epiR's
# epi.tests, prop.test's Wilson interval; Brier score, groups of the calibration curve and net benefit from their definitions.
# Run in this folder: Rscript classification.R. Whole-number arithmetic, so that Python makes the same table.
suppressMessages(library(epiR))
i <- 0:159
d <- data.frame(
  y = as.numeric((i * i * 7 + 3 * i) %% 19 + (i %% 7) > 14),
  age = (i * 13) %% 47 / 5, volume = (i * i) %% 31 / 10, network = (i * 17 + i * i * 3) %% 29 / 29
)
d$p <- plogis(-1.2 + 0.11 * d$age - 0.4 * d$volume + 1.5 * d$network)
d$called <- as.numeric(d$p >= 0.4)
rows <- list()
add <- function(name, value) rows[[length(rows) + 1]] <<- data.frame(name = name, value = value)

base <- glm(y ~ age + volume, binomial, d, control = list(epsilon = 1e-14, maxit = 100))
full <- glm(y ~ age + volume + network + I(network^2), binomial, d, control = list(epsilon = 1e-14, maxit = 100))
test <- anova(base, full, test = "LRT")
for (k in 1:3) {
  add(paste0("coefficient_", k), coef(base)[[k]])
  add(paste0("se_", k), sqrt(diag(vcov(base)))[[k]])
}
add("log_likelihood_base", as.numeric(logLik(base)))
add("log_likelihood_full", as.numeric(logLik(full)))
add("lrt", test$Deviance[2])
add("lrt_df", test$Df[2])
add("lrt_p", test$`Pr(>Chi)`[2])

shifted <- glm(y ~ offset(qlogis(p)), binomial, d, control = list(epsilon = 1e-14, maxit = 100))
sloped <- glm(y ~ qlogis(p), binomial, d, control = list(epsilon = 1e-14, maxit = 100))
add("intercept", coef(shifted)[[1]])
add("intercept_low", confint.default(shifted)[1, 1])
add("intercept_high", confint.default(shifted)[1, 2])
add("slope", coef(sloped)[[2]])
add("slope_low", confint.default(sloped)[2, 1])
add("slope_high", confint.default(sloped)[2, 2])
add("brier", mean((d$p - d$y)^2))
add("brier_scaled", 1 - mean((d$p - d$y)^2) / mean((mean(d$y) - d$y)^2))

counts <- epi.tests(c(sum(d$called & d$y), sum(d$called & !d$y), sum(!d$called & d$y), sum(!d$called & !d$y)))$detail
for (pair in list(c("sensitivity", "se"), c("specificity", "sp"), c("ppv", "pv.pos"), c("npv", "pv.neg"), c("accuracy", "diag.ac")))
  add(pair[1], counts$est[counts$statistic == pair[2]])

smooth <- lowess(d$p, d$y, f = 0.5, iter = 0, delta = 0)
for (k in c(1, 40, 80, 120, 160)) {
  add(paste0("smooth_p_", k), smooth$x[k])
  add(paste0("smooth_y_", k), smooth$y[k])
}
# 160 rows without equal probabilities in eight groups of twenty
stopifnot(length(unique(d$p)) == 160)
sorted <- d[order(d$p), ]
for (g in 1:8) {
  part <- sorted[(20 * g - 19):(20 * g), ]
  wilson <- suppressWarnings(prop.test(sum(part$y), 20, correct = FALSE)$conf.int)
  add(paste0("group_p_", g), mean(part$p))
  add(paste0("group_y_", g), mean(part$y))
  add(paste0("group_low_", g), wilson[1])
  add(paste0("group_high_", g), wilson[2])
}
for (t in c(0.1, 0.3, 0.5)) {
  add(paste0("net_", t), (sum(d$p >= t & d$y == 1) - t / (1 - t) * sum(d$p >= t & d$y == 0)) / nrow(d))
  add(paste0("all_", t), mean(d$y) - t / (1 - t) * mean(1 - d$y))
}
table <- do.call(rbind, rows)
table$value <- format(table$value, digits = 16, trim = TRUE)
table$r <- paste(R.version$major, R.version$minor, sep = ".")
table$epiR <- as.character(packageVersion("epiR"))
write.csv(table, "classification.csv", row.names = FALSE, quote = FALSE)
