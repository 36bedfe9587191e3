# Oracle of test_ancova.py: heteroscedasticity-consistent inference of the ANCOVA at week 120.
# Run: Rscript robust_ancova.R FOLDER > robust_ancova.csv, where FOLDER holds patients.csv and tlv.csv of the
# endpoint oracles. R 4.2.2, clubSandwich 0.5.8, estimatr 1.0.0 (Debian 12).
suppressMessages({library(clubSandwich); library(estimatr)})
folder <- commandArgs(trailingOnly = TRUE)[1]
d <- merge(read.csv(file.path(folder, "patients.csv")), read.csv(file.path(folder, "tlv.csv")))
d <- d[d$week == 120, ]
d$pchg <- 100 * (d$t2_tlv_ml / d$t2_tlv_ml_baseline - 1)
d$arm <- factor(d$arm, levels = c("control", "active"))
d$region <- factor(d$region)
d$age_group <- factor(d$age_group, levels = sort(unique(d$age_group), method = "radix"))
fit <- lm(pchg ~ arm + t2_tlv_ml_baseline + region + age_group, d)
V <- vcovCR(fit, cluster = d$patient_id, type = "CR2")
put <- function(term, values) for (s in names(values)) cat(sprintf("%s,%s,%.15g\n", term, s, values[[s]]))
row <- function(point) {
  found <- linear_contrast(fit, vcov = V, contrasts = matrix(point, 1), test = "Satterthwaite")
  list(estimate = found$Est, se = found$SE, df = found$df, low = found$CI_L, high = found$CI_U)
}
cat("term,stat,value\n")
arm <- row(c(0, 1, 0, 0, 0))
# estimatr gives the same standard error and degrees of freedom; it also gives p
other <- lm_robust(pchg ~ arm + t2_tlv_ml_baseline + region + age_group, d, clusters = patient_id, se_type = "CR2")
stopifnot(abs(other$std.error[2] - arm$se) < 1e-8, abs(other$df[2] - arm$df) < 1e-5)
put("active", c(arm, list(p = 2 * pt(-abs(arm$estimate / arm$se), arm$df))))
for (k in 0:1) put(paste("mean", levels(d$arm)[k + 1]), row(c(1, k, mean(d$t2_tlv_ml_baseline), 0.5, 0.5)))
