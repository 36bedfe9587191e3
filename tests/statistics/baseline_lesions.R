# Oracle of tests/analysis/endpoints/test_progression_by_t1_lesions.py: Cox models of the baseline lesion metrics, alone and
# beside arm, sex, region, EDSS < 4 and age with arm x metric, Efron's ties. baseline_lesions_patients.csv is one row per
# patient of a synthetic trial (nobody is real). Run in this folder: Rscript baseline_lesions.R
suppressMessages(library(survival))
d <- read.csv("baseline_lesions_patients.csv")
d$arm <- as.numeric(d$arm == "active")
d$male <- as.numeric(d$sex == "M")
d$us <- as.numeric(d$region == "US")
d$low <- as.numeric(d$edss_baseline < 4)
d$log_unenhancing_tlv <- log(d$unenhancing_ml)
d$enhancing_present <- as.numeric(d$enhancing_lesion_count > 0)
alone <- c(unenhancing_lesion_count = "cox_unenhancing_count", enhancing_lesion_count = "cox_enhancing_count",
           enhancing_present = "cox_enhancing_presence")
joint <- c(lesion_count = "cox_multivariable_count", log_unenhancing_tlv = "cox_unenhancing_multivariable",
           unenhancing_lesion_count = "cox_unenhancing_count_multivariable",
           enhancing_lesion_count = "cox_enhancing_count_multivariable",
           enhancing_present = "cox_enhancing_presence_multivariable")
rows <- list()
keep <- function(fit, analysis, terms) {
  s <- summary(fit)$coefficients
  ci <- exp(confint(fit))
  rows[[length(rows) + 1]] <<- data.frame(
    analysis = analysis, term = terms, coef = s[, "coef"], se = s[, "se(coef)"], low = ci[, 1], high = ci[, 2],
    p = s[, "Pr(>|z|)"], n = fit$n, events = fit$nevent
  )
}
exact <- coxph.control(eps = 1e-12, toler.chol = 1e-14, iter.max = 100)
for (metric in names(alone)) {
  d$x <- d[[metric]]
  keep(coxph(Surv(time_weeks, event) ~ x, d, ties = "efron", control = exact), alone[[metric]], metric)
}
for (metric in names(joint)) {
  d$x <- d[[metric]]
  fit <- coxph(Surv(time_weeks, event) ~ arm + male + us + low + age_years + x + arm:x, d, ties = "efron", control = exact)
  keep(fit, joint[[metric]], c("arm", "sex: M", "region: US", "edss < 4", "age_years", metric, paste0("arm:", metric)))
}
table <- do.call(rbind, rows)
table$r <- paste(R.version$major, R.version$minor, sep = ".")
table$survival <- as.character(packageVersion("survival"))
for (name in c("coef", "se", "low", "high", "p")) table[[name]] <- sprintf("%.12g", table[[name]])
write.csv(table, "baseline_lesions.csv", row.names = FALSE, quote = FALSE)
