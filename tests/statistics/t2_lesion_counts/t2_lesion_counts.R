# Oracle of test_t2_lesion_counts.py: new, enlarging, and new or enlarging T2 lesions of visits.csv (make_tables.py) by arm.
# Negative binomial models by MASS::glm.nb, offset log(years) or log(scans); poisson.test and wilcox.test beside.
# A count covers the time since the patient's scan before, however long. Run in this folder: Rscript t2_lesion_counts.R
suppressMessages(library(MASS))
patients <- read.csv("patients.csv"); visits <- read.csv("visits.csv")
visits <- visits[order(visits$patient_id, visits$week), ]
visits$before <- ave(visits$week, visits$patient_id, FUN = function(w) c(NA, head(w, -1)))
later <- visits[visits$week > 0, ]
later$years <- (later$week - later$before) * 7 / 365.25
later$new <- later$new_lesion_count; later$enlarging <- later$enlarging_lesion_count
later$both <- later$new + later$enlarging
later$scans <- 1
names <- c(new = "new_t2_lesions", enlarging = "enlarging_t2_lesions", both = "new_or_enlarging_t2_lesions")
sums <- aggregate(cbind(new, enlarging, both, years, scans) ~ patient_id, later, sum)
d <- merge(patients, sums)
d$arm <- factor(d$arm, c("control", "treated")); d$stratum <- factor(ifelse(d$edss_baseline >= 4, "high", "low"))
rows <- list()
put <- function(...) rows[[length(rows) + 1]] <<- data.frame(...)
for (count in names(names)) for (exposure in c("years", "scans")) {
  d$y <- d[[count]]; d$t <- d[[exposure]]
  fit <- glm.nb(y ~ arm + stratum + region + offset(log(t)), d, control = glm.control(epsilon = 1e-13, maxit = 500))
  s <- summary(fit)$coefficients["armtreated", ]
  z <- qnorm(0.975); b <- s[1]; se <- s[2]
  p <- 2 * pnorm(-abs(b / se))
  of <- function(arm) sum(d$y[d$arm == arm]); at <- function(arm) sum(d$t[d$arm == arm])
  exact <- poisson.test(c(of("treated"), of("control")), c(at("treated"), at("control")))
  rate <- d$y / d$t
  ranks <- wilcox.test(rate[d$arm == "treated"], rate[d$arm == "control"], exact = FALSE)
  put(endpoint = names[[count]], exposure = exposure, patients = nrow(d),
      lesions_control = of("control"), lesions_treated = of("treated"), time_control = at("control"), time_treated = at("treated"),
      rate_ratio = exp(b), low = exp(b - z * se), high = exp(b + z * se), se_log = se, p = p, dispersion = 1 / fit$theta,
      exact_ratio = exact$estimate, exact_low = exact$conf.int[1], exact_high = exact$conf.int[2], exact_p = exact$p.value,
      rank_p = ranks$p.value)
}
out <- do.call(rbind, rows)
for (name in names(out)[-(1:2)]) out[[name]] <- sprintf("%.15g", out[[name]])
write.csv(out, "expected.csv", row.names = FALSE, quote = FALSE)
cat(R.version.string, "MASS", as.character(packageVersion("MASS")), "\n")
